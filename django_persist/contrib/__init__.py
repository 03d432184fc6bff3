"""What projects build on a store every time: limits, locks, idempotency, one-time codes."""
