"""The suite itself: what the promise says, one test a requirement, judged case by case.

A test here holds no logic. It names a requirement of the catalogue; the plugin
(`fixtures.plugin`) runs it on every case of the matrix to which the requirement applies,
on evidence collected once for the case.
"""
