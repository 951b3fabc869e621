"""Knows the settings of TLS: the listener's certificate, and the requirements on an upstream's. It
must not read the files; certificates.py does."""

from __future__ import annotations

from typing import Annotated

from pydantic import model_validator

from doorward.settings.faults import Wrong
from doorward.settings.fields import Place, Section, ServerName, Switch, Unless, key, required


class Tls(Section):
    certificate: Place = required(
        "PEM file with the certificate, followed by its intermediate certificates."
    )
    key_: Annotated[Place | None, Unless("none")] = key(
        "none",
        "PEM file with the private key, or none if the certificate's file contains it.",
        alias="key",
    )


class UpstreamTls(Section):
    ca: Annotated[Place | None, Unless("none")] = key(
        "none", "PEM file with trusted certificate authorities, or none for the system's."
    )
    certificate: Annotated[Place | None, Unless("none")] = key(
        "none", "PEM file with a client certificate to present to the upstream, or none."
    )
    key_: Annotated[Place | None, Unless("none")] = key(
        "none",
        "PEM file with its private key, or none if the certificate's file contains it.",
        alias="key",
    )
    server_name: Annotated[ServerName | None, Unless("none")] = key(
        "none", "Name that the upstream's certificate must have, or none for the upstream's host."
    )
    verify: Switch = key(True, "Whether to verify the upstream's certificate.")

    @model_validator(mode="after")
    def _one_mind(self) -> UpstreamTls:
        if self.key_ and not self.certificate:
            raise Wrong("is given without a certificate", "name the certificate too", key="key")
        if self.ca and not self.verify:
            raise Wrong("cannot be combined with verify: false", "remove one of them", key="ca")
        return self
