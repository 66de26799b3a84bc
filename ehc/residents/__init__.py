"""The register of people (居民) and their identity documents."""
