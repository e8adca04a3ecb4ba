"""The pure part: what a job is and how it changes. No I/O, no asyncio, no clock is read in here."""
