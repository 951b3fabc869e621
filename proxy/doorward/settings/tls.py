"""Knows the settings of TLS: our own certificate, and what is demanded of an upstream's.
It must not read the files they name; certificates.py does."""

from __future__ import annotations

from typing import Annotated

from pydantic import model_validator

from doorward.settings.faults import Wrong
from doorward.settings.fields import Place, Section, ServerName, Switch, Unless, key, required


class Tls(Section):
    certificate: Place = required("PEM file of the certificate, those that vouch for it after it.")
    key_: Annotated[Place | None, Unless("none")] = key(
        "none", "PEM file of its private key; none: it is in the same file.", alias="key"
    )


class UpstreamTls(Section):
    ca: Annotated[Place | None, Unless("none")] = key(
        "none", "PEM file of the authorities that are believed; none: those of the system."
    )
    certificate: Annotated[Place | None, Unless("none")] = key(
        "none", "PEM file of a certificate to show to the upstream."
    )
    key_: Annotated[Place | None, Unless("none")] = key(
        "none",
        "PEM file of that certificate's private key; none: it is in the same file.",
        alias="key",
    )
    server_name: Annotated[ServerName | None, Unless("none")] = key(
        "none", "Name to ask for and to find in the certificate; none: the upstream's host."
    )
    verify: Switch = key(True, "Whether a certificate that nobody vouches for is refused.")

    @model_validator(mode="after")
    def _one_mind(self) -> UpstreamTls:
        if self.key_ and not self.certificate:
            raise Wrong("is given without a certificate", "name the certificate too", key="key")
        if self.ca and not self.verify:
            raise Wrong("says nothing beside verify: false", "remove one of them", key="ca")
        return self
