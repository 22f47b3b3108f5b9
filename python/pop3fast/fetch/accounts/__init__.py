"""Who logs in, with which secret, and how many sessions a host has at once."""
