"""The load generator against others: cost of a message, memory of a connection, truth of what they say."""
