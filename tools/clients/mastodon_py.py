"""Mastodon.py on its whole journey; see run.mjs.

Every warning is an error. Where a person would use a browser, the address is printed and the code
read from standard input.
"""

import logging
import sys
import threading
import time
import warnings

warnings.simplefilter("error")

import mastodon  # noqa: E402
from mastodon import Mastodon, StreamListener  # noqa: E402


class Complaints(logging.Handler):
    """The library logs what it works around; nothing of ours should be among it."""

    def emit(self, record):
        if record.levelno >= logging.WARNING:
            raise AssertionError(f"logged: {record.getMessage()}")


logging.getLogger().addHandler(Complaints())
logging.getLogger("mastodon").addHandler(Complaints())

URL = sys.argv[1]
SCOPES = ["read", "write", "follow", "push"]
OUT_OF_BAND = "urn:ietf:wg:oauth:2.0:oob"


def step(name):
    print(name, flush=True)


def eventually(what, is_so):
    for _ in range(100):
        if is_so():
            return
        time.sleep(0.1)
    raise AssertionError(what)


def refused(kind, call):
    try:
        call()
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was expected")


def ids(items):
    return [item["id"] for item in items]


step("register an app")
client_id, client_secret = Mastodon.create_app("Mastodon.py", api_base_url=URL, scopes=SCOPES, redirect_uris=OUT_OF_BAND)

step("authorize in the browser")
owner = Mastodon(client_id=client_id, client_secret=client_secret, api_base_url=URL)
print("AUTHORIZE", owner.auth_request_url(scopes=SCOPES, redirect_uris=OUT_OF_BAND), flush=True)
owner.log_in(code=sys.stdin.readline().strip(), redirect_uri=OUT_OF_BAND, scopes=SCOPES)
me = owner.account_verify_credentials()
assert me["acct"] == "py_owner" and me["source"]["privacy"] == "public", me
assert owner.app_verify_credentials()["name"] == "Mastodon.py"
assert owner.me()["id"] == me["id"]

step("sign up by the API")
other = Mastodon(client_id=client_id, client_secret=client_secret, api_base_url=URL)
other.create_account("py_other", "a password of some length", "py_other@example.org", agreement=True, locale="en", scopes=SCOPES)
them = other.account_verify_credentials()
anybody = Mastodon(api_base_url=URL)

step("what the server is")
for client in (owner, anybody):
    assert client.instance()["version"].startswith("4.")
    assert client.instance_v1()["uri"] in URL
    assert client.instance_v2()["configuration"]["statuses"]["max_characters"] == 500
assert owner.instance_nodeinfo()["software"]["name"] == "dmb"
assert owner.retrieve_mastodon_version()
assert owner.stream_healthy()
assert owner.preferences()["posting:default:visibility"] == "public"
for empty in (owner.custom_emojis(), owner.announcements(), owner.lists(), owner.filters_v2(), owner.followed_tags()):
    assert list(empty) == [], empty

step("post, reply, thread")
first = owner.status_post("Hello @py_other #hello https://example.org/?a=1&b=2", idempotency_key="one", language="en", sensitive=True, spoiler_text="careful")
assert owner.status_post("Hello @py_other #hello https://example.org/?a=1&b=2", idempotency_key="one", language="en")["id"] == first["id"]
assert first["sensitive"] and first["spoiler_text"] == "careful" and first["tags"][0]["name"] == "hello"
reply = other.status_post("@py_owner hello", in_reply_to_id=first["id"])
answer = owner.status_reply(reply, "and to you")
context = owner.status_context(reply["id"])
assert ids(context["ancestors"]) == [first["id"]] and ids(context["descendants"]) == [answer["id"]], context
assert anybody.status(first["id"])["uri"] == first["uri"]
assert set(ids(owner.statuses([first["id"], reply["id"]]))) == {first["id"], reply["id"]}

step("edit, source, history")
edited = owner.status_update(answer["id"], "and to you, corrected")
assert edited["edited_at"] is not None
assert owner.status_source(answer["id"])["text"] == "and to you, corrected"
assert len(owner.status_history(answer["id"])) == 2

step("follow")
live = threading.Event()


class Listener(StreamListener):
    def __init__(self):
        super().__init__()
        self.updates, self.notifications, self.deletes, self.edits, self.errors = [], [], [], [], []

    def on_update(self, status):
        self.updates.append(status["id"])
        live.set()

    def on_status_update(self, status):
        self.edits.append(status["id"])

    def on_notification(self, notification):
        self.notifications.append(notification["type"])

    def on_delete(self, status_id):
        self.deletes.append(str(status_id))

    def on_abort(self, error):
        self.errors.append(error)


relationship = other.account_follow(me["id"])
assert relationship["following"] and not relationship["requested"]
[relationship] = owner.account_relationships(them["id"])
assert relationship["followed_by"] and not relationship["following"]
assert ids(owner.account_followers(me["id"])) == [them["id"]]
assert ids(other.account_following(them["id"])) == [me["id"]]

step("stream")
listener = Listener()
handle = other.stream_user(listener, run_async=True, reconnect_async=False)
eventually("the stream brings posts", lambda: owner.status_post("is anybody there?") and live.wait(0.3))
private = owner.status_post("only for followers", visibility="private")
eventually("a post", lambda: str(private["id"]) in map(str, listener.updates))
owner.status_update(private["id"], "only for followers, corrected")
eventually("an edit", lambda: str(private["id"]) in map(str, listener.edits))
owner.status_post("@py_other look")
eventually("a notification", lambda: "mention" in listener.notifications)
owner.status_delete(private["id"])
eventually("a deletion", lambda: str(private["id"]) in listener.deletes)
handle.close()
assert listener.errors == [], listener.errors

step("home and its pages")
made = [owner.status_post(f"page {turn}", visibility="unlisted") for turn in range(12)]
newest = made[-1]["id"]
eventually("home has the posts", lambda: other.timeline_home(limit=1)[0]["id"] == newest)
page = other.timeline_home(limit=5)
assert ids(page) == ids(reversed(made[-5:]))
following = other.fetch_next(page)
assert ids(following) == ids(reversed(made[-10:-5]))
assert ids(other.fetch_previous(following)) == ids(page)
everything = ids(other.fetch_remaining(page))
assert len(everything) == len(set(everything)) and first["id"] in everything and private["id"] not in everything
assert ids(other.timeline_home(min_id=made[3]["id"], limit=2)) == ids(reversed(made[4:6]))
assert ids(other.timeline_home(since_id=made[3]["id"], limit=2)) == ids(reversed(made[-2:]))
assert newest not in ids(anybody.timeline_public()) and newest not in ids(owner.timeline_local())
assert ids(anybody.account_statuses(me["id"], limit=1)) == [newest]
assert anybody.account_statuses(me["id"], pinned=True) == []

step("visibilities")
direct = owner.status_post("@py_other between us", visibility="direct")
hidden = owner.status_post("for followers", visibility="private")
assert other.status(direct["id"])["visibility"] == "direct" and other.status(hidden["id"])["visibility"] == "private"
for secret in (direct, hidden):
    refused(mastodon.MastodonNotFoundError, lambda: anybody.status(secret["id"]))

step("search")
assert ids(owner.search_v2("@py_other", resolve=True)["accounts"]) == [them["id"]]
assert ids(owner.search_v2(first["url"], resolve=True)["statuses"]) == [first["id"]]
assert owner.account_lookup("py_other")["id"] == them["id"]
assert them["id"] in ids(owner.account_search("py_oth"))
assert anybody.account(them["id"])["acct"] == "py_other"

step("notifications")
eventually("a follow", lambda: "follow" in [each["type"] for each in owner.notifications()])
notification = owner.notifications(types=["mention"], limit=1)[0]
assert notification["status"]["account"]["id"] == them["id"]
assert owner.notifications(notification["id"])["id"] == notification["id"]
assert all(each["type"] != "mention" for each in owner.notifications(exclude_types=["mention"]))

step("markers")
assert str(owner.markers_get(["home", "notifications"])["notifications"]["last_read_id"]) == "0"
owner.markers_set(["notifications"], [notification["id"]])
assert str(owner.markers_get(["notifications"])["notifications"]["last_read_id"]) == str(notification["id"])

step("a locked account")
assert owner.account_update_credentials(locked=True, note="by request", display_name="Owner")["locked"]
other.account_unfollow(me["id"])
assert other.account_follow(me["id"])["requested"]
assert ids(owner.follow_requests()) == [them["id"]]
owner.follow_request_reject(them["id"])
assert not other.account_relationships(me["id"])[0]["requested"]
other.account_follow(me["id"])
assert owner.follow_request_authorize(them["id"])["followed_by"]
assert other.account_relationships(me["id"])[0]["following"]

step("delete")
gone = owner.status_delete(first["id"])
assert gone["text"].startswith("Hello")
refused(mastodon.MastodonNotFoundError, lambda: anybody.status(first["id"]))
assert first["id"] not in ids(other.timeline_home(limit=40))

step("log out")
owner.revoke_access_token()
late = Mastodon(access_token="nonsense", api_base_url=URL)
refused(mastodon.MastodonUnauthorizedError, lambda: late.account_verify_credentials())
