# SPDX-License-Identifier: MIT
"""A procedure on a schedule: what a timer runs, as systemd units, a cron file or a Kubernetes CronJob."""
