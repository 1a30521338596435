"""Measure a user's own store on a user's own machine, beside what the machine allows.

Pure: ``settings`` (what is tried), ``rows`` (what came out), ``bounds`` (what it means). At the
edge: ``turn`` (a sequence by hand), ``samples``, ``memory``, ``hand_over``, ``decoding``, ``cold``
(the limits), ``machine``; ``running`` lets all of them take turns.
"""
