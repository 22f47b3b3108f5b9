"""Transcripts of POP3 sessions, and what plays them to a client."""
