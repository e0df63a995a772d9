"""The engine before an outside judge: Autobahn|Testsuite, against our server and against our client."""
