"""The asyncio client: the blocking client's dialogues once more, and what only an event loop can do to it."""
