"""`opus claims`: each claim of *Self-Organizing Subsets* as an experiment, with a rule for its verdict (docs/claims.md).

    catalogue ── claim.tasks(setting) ──run──▶ figures ──claim.judge──▶ Finding ──report──▶ claims.md

A claim has the paper's words, says how it is measured and by which rule it is judged. A task is a function without arguments that
gives figures (JSON); claims may share tasks, each is done once. Rules were written before figures were looked at.
"""
