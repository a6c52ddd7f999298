#!/usr/bin/python
# SPDX-License-Identifier: MIT
from __future__ import annotations

DOCUMENTATION = r"""
module: mend_docker_reclaim
short_description: Give back what a Docker engine holds for nobody, and read back what that freed
description:
  - Removes containers that have been stopped for long, images that nothing uses, networks without containers and old
    records of the build cache, and says before what that is and how many bytes it frees.
  - Keeps images that a container uses, also a stopped one that stays, and the last images of each repository, because
    a rollback needs them. Age counts from when a container stopped, and from when an image came here or got its tag.
  - Never removes a named volume, and an anonymous one only with O(anonymous_volumes) and when no container has it.
  - Each object is looked at again immediately before it goes, and goes by its id. What came into use since the plan
    is skipped and said.
  - Where stopped containers, volumes or images go that no registry has, the plan needs O(confirm).
options:
  containers:
    description: Remove containers that are stopped or were never started, with what they wrote into themselves.
    type: bool
    default: true
  images:
    description: Remove images that no container uses, those without a tag and old releases.
    type: bool
    default: true
  networks:
    description: Remove networks that no container has, not even a stopped one, and no Compose project with containers.
    type: bool
    default: true
  build_cache:
    description: Remove the build cache's records that no build has used.
    type: bool
    default: true
  anonymous_volumes:
    description: Also remove volumes that were never named and that no container has. Their data is lost.
    type: bool
    default: false
  min_age_seconds:
    description:
      - Only what has been stopped, unused or here for so long. Less than 60 is refused, because it would hit what
        somebody has just made.
    type: int
    default: 604800
  keep_images:
    description: How many of the newest images of each repository stay, used or not.
    type: int
    default: 3
  unpullable_images:
    description:
      - Also remove images with a tag that no registry is known to have. They are gone for good, so the plan then needs
        O(confirm). Without it they are kept and named.
    type: bool
    default: false
  protected_names:
    description: Shell wildcards of containers, image tags or repositories, networks and volumes that always stay.
    type: list
    elements: str
    default: []
  protected_labels:
    description: Labels, V(key) or V(key=value), of whatever always stays.
    type: list
    elements: str
    default: [mendbook.keep, io.kubernetes.pod.uid]
  max_objects:
    description: The most objects that may be removed; with more it refuses. The build cache counts as one.
    type: int
    default: 500
  max_bytes:
    description: The most bytes that may be freed; with more it refuses.
    type: int
extends_documentation_fragment:
  - mend_docker
  - mend_change
  - mend_change.confirm
author: mendbook (@mendbook)
"""

EXAMPLES = r"""
- name: Give back old images and build cache, and nothing that wants a confirmation
  mend_docker_reclaim:
    containers: false

- name: Give back everything that has been out of use for a month
  mend_docker_reclaim:
    min_age_seconds: 2592000
    protected_names: ["shop/*", "backup-*"]
    confirm: docker:web1
"""

RETURN = r"""
plan:
  description: What would be removed (schema 1), with the bytes that it frees, target, caps, and notes on what is kept.
  returned: when the engine could be read
  type: dict
state:
  description: The result in a word, such as C(done), C(nothing to do), C(planned), C(partial) or C(refused).
  returned: always
  type: str
done:
  description: Each object that was removed, with the bytes of the plan; the build cache with its own.
  returned: when acting
  type: list
  elements: dict
skipped_objects:
  description: Objects of the plan that were left because they came into use or had gone meanwhile.
  returned: when acting
  type: list
  elements: dict
read_back:
  description:
    - How many objects were removed and are gone, what the engine holds now in bytes and how many bytes less that is,
      and the free bytes of the data root where it is on this host.
  returned: on success, when acting
  type: dict
figures:
  description: Seconds that it took.
  returned: always
  type: dict
diff:
  description: The changes of the plan, a line each.
  returned: with --diff
  type: dict
mend:
  description: Why it was refused or failed, with reason, rule and details.
  returned: on failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mendbook import change, docker_options
from ansible.module_utils.mendbook.docker_reclaim import Reclaim

_ON = {"type": "bool", "default": True}
_OFF = {"type": "bool", "default": False}
ARGUMENT_SPEC = dict(
    docker_options.CONNECTION_SPEC,
    **change.CONFIRM_SPEC,
    containers=_ON,
    images=_ON,
    networks=_ON,
    build_cache=_ON,
    anonymous_volumes=_OFF,
    min_age_seconds={"type": "int", "default": 604800},
    keep_images={"type": "int", "default": 3},
    unpullable_images=_OFF,
    protected_names={"type": "list", "elements": "str", "default": []},
    protected_labels={"type": "list", "elements": "str", "default": ["mendbook.keep", "io.kubernetes.pod.uid"]},
    max_objects={"type": "int", "default": 500},
    max_bytes={"type": "int"},
)


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    change.run_change(module, Reclaim(module.params))


if __name__ == "__main__":
    main()
