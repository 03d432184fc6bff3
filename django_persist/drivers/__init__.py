"""The drivers. Nothing is imported here: a store loads the one that its BACKEND names."""
