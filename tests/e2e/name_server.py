"""A name server on loopback for tests."""

from __future__ import annotations

import socketserver

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


class Names(socketserver.BaseRequestHandler):
    """A name server with the records of one zone."""

    records: dict[tuple[str, str], list[str]] = {}

    def handle(self) -> None:
        data, wire = self.request
        asked = dns.message.from_wire(data)
        answer = dns.message.make_response(asked)
        answer.flags |= dns.flags.RA
        question = asked.question[0]
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        found = self.records.get((name, kind))
        if found:
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *found))
        elif not any(known == name for known, _ in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        wire.sendto(answer.to_wire(), self.client_address)
