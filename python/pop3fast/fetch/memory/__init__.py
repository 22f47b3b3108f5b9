"""What is remembered of the messages of an account, and how it is kept."""
