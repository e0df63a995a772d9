"""The command line: thin shells over the feed, the client and the test suite.

Exit codes, of every command: 0 pass, 1 fail, 2 unknown or invalid, 3 usage or environment. Text for people
goes to standard error; standard output carries data alone, so that it can be piped.
"""
