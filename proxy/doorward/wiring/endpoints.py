"""Doorward's own endpoints: each page and each dialect with the services that it uses.

Knows the constructor of every page and dialect; must not know what any of them does.
"""

from starlette.routing import Route

from doorward.dialects.context import Context
from doorward.gate.access_tokens import AccessCarrier
from doorward.gate.cookies import Cookies
from doorward.gate.handover import HandoverCarrier
from doorward.gate.identify import Identify
from doorward.pages.account import AccountPage
from doorward.pages.admin import AdminPages
from doorward.pages.admin_explain import AdminExplainPage
from doorward.pages.admin_guard import AdminGuard
from doorward.pages.admin_user import AdminUserPages
from doorward.pages.aliases import AliasPages
from doorward.pages.applications import ApplicationPages
from doorward.pages.authenticator import AuthenticatorPage
from doorward.pages.credentials import CredentialPages
from doorward.pages.expiry_script import ExpiryScript
from doorward.pages.forgotten import ForgottenPages
from doorward.pages.form_token import FormToken
from doorward.pages.handover import HandoverPage
from doorward.pages.login import LoginPage
from doorward.pages.logout import LogoutPage
from doorward.pages.message import Messages
from doorward.pages.pages import Pages
from doorward.pages.preserved_form import PreservedForms
from doorward.pages.rendering import PageRenderer
from doorward.pages.second_factor import SecondFactorPage
from doorward.pages.session_form import Forms
from doorward.pages.sites import known_hosts
from doorward.pages.tokens import TokenPages
from doorward.settings import Settings
from doorward.storage.rates import Rates
from doorward.web.application_logout import ApplicationLogouts
from doorward.web.explanation import Explain
from doorward.web.return_address import ReturnAddresses
from doorward.web.session_cookie import SessionCookie
from doorward.web.session_service import SessionService
from doorward.wiring.accounts import Accounts, Clock


def build_session_service(
    settings: Settings,
    accounts: Accounts,
    identify: Identify,
    cookies: Cookies,
    clock: Clock,
    handover: HandoverCarrier | None = None,
) -> SessionService:
    return SessionService(
        settings,
        accounts.logins,
        accounts.sessions,
        accounts.second_factors,
        identify,
        SessionCookie(cookies, accounts.tokens, accounts.known_browsers, clock),
        clock,
        ApplicationLogouts(settings),
        ReturnAddresses(settings.login_hosts, allows_http=_allows_http(settings)),
        handover,
        accounts.handovers,
    )


def _allows_http(settings: Settings) -> bool:
    return settings.portal_origin.startswith("http:")


def build_handover_page(
    settings: Settings,
    accounts: Accounts,
    service: SessionService,
    messages: Messages,
) -> HandoverPage | None:
    """The hand-over of sessions to other root domains, if the settings name any."""
    if service.handover is None:
        return None
    returns = ReturnAddresses(settings.handover_hosts, allows_http=_allows_http(settings))
    portal = settings.portal_origin
    return HandoverPage(service, messages, accounts.handovers, service.handover, returns, portal)


def build_pages(
    settings: Settings, accounts: Accounts, service: SessionService, explain: Explain
) -> Pages:
    """Raises InvalidSettings for the operator's files that cannot be used."""
    factors, keys = accounts.second_factors, accounts.keys
    messages = Messages(PageRenderer(settings.pages, known_hosts(settings)))
    preserved_forms = PreservedForms(service, keys)
    handover = build_handover_page(settings, accounts, service, messages)
    second = SecondFactorPage(service, messages, preserved_forms, factors, handover)
    forms = Forms(service, messages, accounts.logins, factors, keys)
    guard = AdminGuard(forms, factors)
    aliases = () if settings.forward_auth is None else settings.forward_auth.aliases
    return Pages(
        messages,
        LoginPage(service, messages, second, preserved_forms, FormToken(service, keys), handover),
        (
            *(() if handover is None else (handover,)),
            LogoutPage(service, messages),
            second,
            AccountPage(
                forms,
                accounts.sessions,
                factors,
                accounts.addresses,
                accounts.api_tokens,
                accounts.credentials,
            ),
            ApplicationPages(forms, accounts.credentials),
            ExpiryScript(messages),
            TokenPages(forms, guard, accounts.api_tokens),
            AuthenticatorPage(forms, factors),
            CredentialPages(forms, accounts.logins, factors, accounts.addresses),
            ForgottenPages(service, messages, accounts.forgotten),
            AdminPages(guard, accounts.administration),
            AdminUserPages(guard, accounts.administration),
            AdminExplainPage(guard, accounts.administration, explain, settings.data_dir),
            AliasPages(service, messages, aliases, settings.portal_origin),
        ),
    )


def build_dialects(
    settings: Settings,
    accounts: Accounts,
    service: SessionService,
    rates: Rates,
    explain: Explain | None = None,
) -> dict[str, list[Route]]:
    """The routes of each enabled dialect, by the dialect's name. Disabled dialects are not
    imported: together they take 3 MiB."""
    on, context = settings.dialects, Context(settings, service)
    sessions, factors = accounts.sessions, accounts.second_factors
    found: dict[str, list[Route]] = {}
    if on.xhr is not None:
        from doorward.dialects import xhr

        found["xhr"] = xhr.routes(context.of(on.xhr), on.xhr, factors)
    if on.alekeagle is not None:
        from doorward.dialects import alekeagle

        found["alekeagle"] = alekeagle.routes(
            context.of(on.alekeagle), on.alekeagle, sessions, factors, rates
        )
    if on.datepoll is not None:
        from doorward.dialects import datepoll

        carrier = AccessCarrier(accounts.live, accounts.access)
        found["datepoll"] = datepoll.routes(
            context.of(on.datepoll),
            on.datepoll,
            carrier,
            accounts.access,
            sessions,
            accounts.live.last_used_at,
        )
    if on.rocketchat is not None:
        from doorward.dialects import rocketchat

        found["rocketchat"] = rocketchat.routes(
            context.of(on.rocketchat),
            on.rocketchat,
            users=accounts.users,
            sessions=sessions,
            factors=factors,
            administration=accounts.administration,
            regulation=accounts.regulation,
            rates=rates,
        )
    if settings.api.enabled:
        from doorward.dialects import api
        from doorward.dialects.api.guard import ApiGuard

        guard = ApiGuard(accounts.api_tokens, accounts.token_uses, service.clock)
        found["api"] = api.routes(
            context,
            guard,
            accounts.administration,
            sessions,
            accounts.api_tokens,
            accounts.audit_log,
            explain,
        )
    return found
