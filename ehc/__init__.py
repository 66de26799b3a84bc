"""ehc: the electronic health card (电子健康卡) service."""
