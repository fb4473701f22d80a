"""The studio: runs, tasks and a model thinking, in a browser. A small server and its page.

The server computes nothing itself: runs are read through ``runs/`` and ``report/``, tasks through ``puzzles/``, and a
model works in a process of its own. It imports no torch.
"""
