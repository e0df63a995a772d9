"""The test suite's engine: proves a WebSocket channel, ours or anybody's. It knows nothing of the feed.

A *target* (``target``) is a server and a *profile* of how to speak to it (``profile``). A *case* (``case``)
does something to it over recording clients (``connection``) and is judged from their *history* by *checkers*.
All results are one model (``result``), from which every report is made.
"""
