"""Measure how fast this machine feeds a store, and compare that with the limits of the machine.

Pure modules are ``settings`` (what is measured), ``rows`` (results) and ``bounds`` (the verdict).
``turn`` measures a sequence; ``samples``, ``overhead``, ``decoding`` and ``cold`` measure limits;
``running`` makes all of them take turns.
"""
