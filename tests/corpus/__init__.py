"""Faulty input for the command line, made by script: one tiny file per known fault, and seeded damage.

``faults`` holds the known ones; ``python -m corpus.faults FOLDER`` (in ``tests``) writes them to look at. ``damage``
draws new ones; ``files`` makes the whole files that both begin with. ``test_fuzz.py`` runs them all.
"""
