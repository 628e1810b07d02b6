"""The life of servables: which versions should exist, and how each gets from START to END.

No I/O, no OpenVINO and no transport here: loaders and publishers come in through protocols.
"""
