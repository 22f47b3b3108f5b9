"""Where mail is delivered to, found again, and read back before it is deleted from the server."""
