"""`/api/v1/people`: operators keep the accounts of people; everybody his own password."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from pydantic import Field

from ingest.api.answers import Answer, also
from ingest.api.credentials import waiting
from ingest.api.forms import Form, described, read_form
from ingest.api.gate import Gate
from ingest.api.problems import Problem
from store import passwords, people
from store.database import Connection
from store.identity import Role
from store.people import NameTaken, Wanted, WrongScope
from store.sessions import Locked, WrongLogin

_Password = Annotated[str, Field(min_length=1, max_length=200)]
_Display = Annotated[str, Field(min_length=1, max_length=200)]
_Subject = Annotated[str, Field(max_length=500)]


class NewPerson(Form):
    """Somebody to add; of the scope, the one field that the role needs."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.@\-一-鿿]{1,100}$")]
    """of the account, to log in with"""
    display_name: _Display
    """for people"""
    role: Role
    """decides what may be done; it never changes"""
    region: Annotated[str | None, Field(max_length=20)] = None
    """of city, county: region code (GB/T 2260)"""
    pilots: Annotated[list[Annotated[str, Field(max_length=100)]] | None, Field(max_length=200)] = None
    """of think_tank: codes of these pilots only"""
    unit: Annotated[str | None, Field(max_length=100)] = None
    """of lead_unit: its code"""
    uscc: Annotated[str | None, Field(max_length=18)] = None
    """of enterprise, bank: 统一社会信用代码"""
    password: _Password | None = None
    """left out, without `oidc_subject`: one is made"""
    oidc_subject: _Subject | None = None
    """of OpenID Connect: issuer and subject, joined by a blank; empty = none"""


class Changes(Form):
    """What to change; role and scope stay as they are."""

    display_name: _Display | None = None
    """for people"""
    disabled: bool | None = None
    """true: may not log in, and all sessions end"""
    password: _Password | None = None
    """another one; all sessions end"""
    oidc_subject: _Subject | None = None
    """of OpenID Connect: issuer and subject, joined by a blank; empty = none"""


class OwnPassword(Form):
    """One's own password, and the next one."""

    old: _Password
    """as it is"""
    new: _Password
    """as it is to be"""


class Person(Answer):
    """Somebody who may log in."""

    name: str
    """of the account"""
    display_name: str
    """for people"""
    role: Role
    """decides what may be done"""
    region: str | None
    """of city, county: region code (GB/T 2260)"""
    pilots: list[str] | None
    """of think_tank: codes of the pilots seen; null: all"""
    unit: str | None
    """of lead_unit: its code"""
    uscc: str | None
    """of enterprise, bank: 统一社会信用代码"""
    by_oidc: bool
    """logs in with OpenID Connect"""
    locked_until: datetime | None
    """after too many wrong passwords"""
    created_at: datetime
    """when the account was made"""
    disabled_at: datetime | None
    """when it was disabled"""


class Added(Person):
    """Somebody new."""

    password: str | None
    """the one that was made, told this once"""


class People(Answer):
    """Everybody in sight."""

    people: list[Person]
    """by name"""


_Name = Annotated[
    str, Path(min_length=1, max_length=100, description="账号名 | of the account", examples=["city-dg"])
]


def router(gate: Gate) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter(tags=["people"])

    @routes.get(
        "/api/v1/people", dependencies=[gate.allow("people:read")], summary="账号清单 | Accounts of people"
    )
    async def everybody() -> People:
        """All accounts, by name, without credentials."""
        found = await gate.query(people.listed)
        return People(people=[Person(**one._asdict()) for one in found])

    @routes.post(
        "/api/v1/people",
        dependencies=[gate.allow("people:write")],
        status_code=201,
        summary="新增账号 | Add somebody",
        responses=also(409),
        openapi_extra=described(
            NewPerson, {"name": "city-dg", "display_name": "东莞市工信局", "role": "city", "region": "441900"}
        ),
    )
    async def add(request: Request) -> Added:
        """Add an account. Without `password` and `oidc_subject` a password is made and shown this once."""
        given = await read_form(gate, request, NewPerson)
        made = passwords.generated() if given.password is None and given.oidc_subject is None else None
        wanted = Wanted(**given.model_dump(exclude={"password"}))
        try:
            person = await gate.query(people.add, wanted, given.password or made)
        except NameTaken as taken:
            raise Problem("name_taken", {"name": given.name}) from taken
        except WrongScope as wrong:
            raise Problem("wrong_scope", {"role": given.role, "detail": str(wrong)}) from wrong
        except passwords.Weak as weak:
            raise Problem("weak_password", {"detail": str(weak)}) from weak
        return Added(**person._asdict(), password=made)

    @routes.patch(
        "/api/v1/people/{name}",
        dependencies=[gate.allow("people:write")],
        summary="修改账号 | Change somebody",
        responses=also(409),
        openapi_extra=described(Changes, {"disabled": True}),
    )
    async def change(name: _Name, request: Request) -> Person:
        """Disable or enable, give another password or name. Disabling and passwords end all sessions."""
        given = await read_form(gate, request, Changes)
        who = await gate.who(request)
        if given.disabled and who.name == name:
            raise Problem("own_account")

        def changing(conn: Connection) -> people.Person:
            if given.password is not None:
                people.set_password(conn, name, given.password)
            return people.change(
                conn, name, display_name=given.display_name, disabled=given.disabled,
                oidc_subject=given.oidc_subject,
            )  # fmt: skip

        try:
            if "\0" in name:
                raise LookupError(name)
            person = await gate.query(changing)
        except LookupError as unknown:
            raise Problem("not_found", {"path": request.url.path}) from unknown
        except NameTaken as taken:
            raise Problem("name_taken", {"name": given.oidc_subject or ""}) from taken
        except passwords.Weak as weak:
            raise Problem("weak_password", {"detail": str(weak)}) from weak
        gate.credentials.forget()
        return Person(**person._asdict())

    @routes.post(
        "/api/v1/me/password",
        dependencies=[gate.known()],
        status_code=204,
        summary="修改自己的密码 | Change your own password",
        response_model=None,
        openapi_extra=described(OwnPassword, {"old": "…", "new": "…"}),
    )
    async def own(request: Request) -> Response:
        """Change your password; all your sessions end, this one too."""
        given = await read_form(gate, request, OwnPassword)
        who = await gate.who(request)
        if who.kind != "person":
            raise Problem("no_session")
        address = request.client.host if request.client else "?"
        try:
            await waiting(gate.credentials.sessions.checked, who.name, given.old, address)
            await gate.query(people.set_password, who.name, given.new)
        except WrongLogin as wrong:
            raise Problem("wrong_login") from wrong
        except Locked as locked:
            raise Problem("locked", retry_after_s=locked.seconds) from locked
        except passwords.Weak as weak:
            raise Problem("weak_password", {"detail": str(weak)}) from weak
        gate.credentials.forget()
        return Response(status_code=204)

    return routes
