"""The provincial platform's SOAP interface (QWB 002-2017 V1.10), spoken to hospitals and apps that know no other."""
