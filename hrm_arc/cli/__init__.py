"""The ``hrm`` command: one verb for each job a person has, and no logic.

Each verb is a file with ``add_arguments`` and ``run``. What a verb needs is imported when
it runs, so ``hrm --help`` answers at once and no verb loads torch that does not compute.
"""
