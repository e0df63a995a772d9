"""The conformance suite against faulty servers, each of which it must catch, and against right ones."""
