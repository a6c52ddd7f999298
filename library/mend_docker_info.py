#!/usr/bin/python
# SPDX-License-Identifier: MIT
from __future__ import annotations

DOCUMENTATION = r"""
module: mend_docker_info
short_description: Tell what a Docker engine holds, what is largest, and what of it could be given back
description:
  - Containers, images, volumes and build cache of an engine with the bytes that they take and that could be given back,
    the largest of each, which containers have been stopped for longest, and how large the logs of containers are.
  - Sizes are the engine's own (C(docker system df)). Of the layers that unused images share, C(reclaimable_bytes)
    counts none, so that it is what is free at least; the plan of M(mend_docker_reclaim) counts each once.
  - Logs and the free space of the data root are known only where the engine listens on a socket of this host and its
    files can be seen, which wants root. Logs are those of the C(json-file) driver with their rotated files.
  - It only reads.
options:
  required:
    description: Fail when no engine answers. With V(false) that is said in RV(present) and RV(why).
    type: bool
    default: true
  limit:
    description: Return at most this many entries in each list, the largest first.
    type: int
    default: 10
extends_documentation_fragment:
  - mend_docker
attributes:
  check_mode:
    description: Only reads, so it does the same in check mode.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
author: mendbook (@mendbook)
"""

EXAMPLES = r"""
- name: See what the engine holds
  mend_docker_info:
    limit: 5
  register: __docker

- name: See it where there may be no engine
  mend_docker_info:
    required: false
"""

RETURN = r"""
present:
  description: Whether an engine answered.
  returned: success
  type: bool
why:
  description: Why none did, with rule (such as C(docker_absent), C(docker_stopped), C(docker_timeout)) and msg.
  returned: when none answered and O(required=false)
  type: dict
summary:
  description: The same in a few sentences.
  returned: success
  type: list
  elements: str
engine:
  description:
    - Its id, name, version, api, storage_driver, logging_driver, root, and root_space (size_bytes, free_bytes).
  returned: when an engine answered
  type: dict
used_bytes:
  description: What all that it holds takes, each layer once, and without logs.
  returned: when an engine answered
  type: int
containers:
  description:
    - Their count, states, stopped, bytes, reclaimable_bytes (of stopped ones), log_bytes (null when unknown), and the
      lists largest, largest_logs and longest_stopped.
  returned: when an engine answered
  type: dict
images:
  description: Their count, unused, dangling, reclaimable_bytes, and the list largest.
  returned: when an engine answered
  type: dict
volumes:
  description: Their count, unused, anonymous, bytes, reclaimable_bytes, and the list largest.
  returned: when an engine answered
  type: dict
build_cache:
  description: Its count of records, in_use, bytes, reclaimable_bytes, and the list largest.
  returned: when an engine answered
  type: dict
mend:
  description: Why it failed, with reason, rule and details.
  returned: on failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mendbook import change, docker_options
from ansible.module_utils.mendbook.docker_info import Info

ARGUMENT_SPEC = dict(
    docker_options.CONNECTION_SPEC,
    required={"type": "bool", "default": True},
    limit={"type": "int", "default": 10},
)


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    change.run_read(module, Info(module.params))


if __name__ == "__main__":
    main()
