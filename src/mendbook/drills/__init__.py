# SPDX-License-Identifier: MIT
"""Drills: a procedure run for real, on servers of its own that are gone afterwards, and measured.

``phases`` a drill under way · ``recovery`` the playbook inside it · ``rehearsal`` with a made shop, ``scratch`` with a
team's backup · ``record`` ``history`` ``store`` what is kept · ``report`` ``chart`` what is shown
"""

NAMES = ("restore_mongo",)
