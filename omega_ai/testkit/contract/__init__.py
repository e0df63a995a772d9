"""Property tests from a contract: messages made from its schemas, and the answers held against it."""
