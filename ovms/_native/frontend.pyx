# distutils: language = c++
"""The native front end: connections, protocols and hot calls in C++; what Python answers comes out of ``next_event``."""

cimport cython
from libc.string cimport memcpy
from libc.stdint cimport int64_t
from libcpp cimport bool as cbool
from libcpp.memory cimport shared_ptr, unique_ptr
from libcpp.pair cimport pair
from libcpp.string cimport string
from libcpp.string_view cimport string_view
from libcpp.vector cimport vector

from ovms._native.libfrontend cimport (
    HISTOGRAM_BUCKETS, HISTOGRAM_FIRST_BIT, SERIES_CODES, ApiKey, SamplerSettings, Span, CFrontEnd, ColdCall as CColdCall, ColdEvent,
    GateSettings, GrpcSettings, Histogram, Refused, RestSettings, Series, TlsIdentity, certificate_end as certificate_end_of, tls_trouble, all_held_bytes, histogram_count,
    limit_held_bytes, microseconds, series_calls, series_is_rest,
)
from ovms._native.libserving cimport deadline_after, seconds_left
from ovms._native.serving cimport Registry, data_plane

import dataclasses


@cython.final
cdef class ColdCall:
    """A call that Python answers: gRPC's with send and finish, HTTP's with respond. From any thread; once the client has
    gone, an answer has no effect.
    """

    cdef shared_ptr[CColdCall] call
    cdef FrontEnd front_end  # which an answer needs

    def __init__(self):
        raise TypeError("a ColdCall comes out of FrontEnd.next_event")

    def __hash__(self):
        return <Py_hash_t>(<size_t>self.call.get() >> 4)

    def __eq__(self, other):
        return isinstance(other, ColdCall) and self.call.get() == (<ColdCall>other).call.get()

    @property
    def grpc(self):
        """Whether it is a call of gRPC, and not of HTTP."""
        return self.call.get().grpc

    @property
    def gone(self):
        """Whether the client is known to have gone: nobody waits for an answer."""
        return self.call.get().gone()

    @property
    def method(self):
        """HTTP's method."""
        return self.call.get().method.decode("latin-1")

    @property
    def path(self):
        """``/SERVICE/METHOD`` of gRPC; of HTTP the target as it was sent, with the query."""
        return self.call.get().path.decode("latin-1")

    @property
    def headers(self):
        """HTTP's, as (name in small letters, value) in the order they came."""
        return [(one.first.decode("latin-1"), one.second.decode("latin-1")) for one in self.call.get().headers]

    @property
    def peer(self):
        """HTTP: the client's address."""
        return self.call.get().peer.decode("latin-1")

    @property
    def protocol(self):
        """HTTP's version, such as ``HTTP/1.1``."""
        return self.call.get().protocol.decode("latin-1")

    @property
    def body_trouble(self):
        """HTTP: why the body is none; empty if it is one, or nobody has asked for it."""
        return self.call.get().body_trouble.decode("latin-1")

    @property
    def body(self):
        """The message, or the body, as bytes."""
        return self.call.get().body.data()[:self.call.get().body.size()] if self.call.get().body.size() else b""

    def time_remaining(self):
        """Seconds until the client's deadline, at least 0; None without one."""
        cdef double seconds = seconds_left(self.call.get().deadline)
        return None if seconds < 0 else seconds

    def send(self, bytes message not None):
        """One message of gRPC's answer."""
        cdef string_view view = string_view(message, len(message))
        with nogil:
            self.call.get().send(view)

    def finish(self, int code=0, str message=""):
        """The end of gRPC's answer: its code and text."""
        cdef bytes data = message.encode("utf-8", "replace")
        cdef string_view view = string_view(data, len(data))
        with nogil:
            self.call.get().finish(code, view)

    def respond(self, int status, headers, bytes content not None):
        """HTTP's answer: status, (name, value) pairs, and the body, whose length is told to the client."""
        cdef vector[pair[string, string]] fields
        cdef string_view view = string_view(content, len(content))
        for name, value in headers:
            fields.push_back(pair[string, string](<string>name.encode("latin-1"), <string>value.encode("latin-1")))
        with nogil:
            self.call.get().respond(status, fields, view)


@cython.final
cdef class FrontEnd:
    """I/O threads and ports; made, given ports, started and stopped once."""

    cdef CFrontEnd* front_end
    cdef Registry registry  # outlives the front end
    cdef bint started
    cdef bint done

    def __cinit__(self, Registry registry not None, *, int io_threads, int threads, busy_poll_us=0):
        """threads: the most that compute for calls which an I/O thread does not compute itself. busy_poll_us: for how many
        microseconds an I/O thread looks for more before it sleeps; None: as long as it pays."""
        cdef int64_t looks = -1 if busy_poll_us is None else busy_poll_us
        if io_threads < 1 or threads < 1 or (looks < 0 and busy_poll_us is not None):
            raise ValueError("io_threads and threads have to be at least 1, and busy_poll_us not negative")
        self.registry = registry
        self.front_end = new CFrontEnd(data_plane(registry), io_threads, threads, microseconds(looks))

    def __dealloc__(self):
        # What a thread that still computes uses is left to the end of the process.
        if self.done or not self.started:
            with nogil:
                del self.front_end

    def guard(self, *, bint keys=False, double requests_per_second=0):
        """Before the first port: whether a call needs an API key, and how often each of these, or without keys each address,
        may call; 0: any number of times.
        """
        cdef GateSettings settings
        settings.keys = keys
        settings.requests_per_second = requests_per_second
        self.front_end.guard(settings)

    def set_keys(self, keys):
        """The keys that let in from now on: (name, SHA-256 of the key, scopes as bits) each. One caller at a time."""
        cdef vector[ApiKey] made
        cdef ApiKey key
        for name, digest, scopes in keys:
            key.name = <string>name.encode()
            if <size_t>len(digest) != key.digest.size():
                raise ValueError(f"digest: expected {key.digest.size()} bytes")
            memcpy(key.digest.data(), <const char*><bytes>digest, key.digest.size())
            key.scopes = scopes
            made.push_back(key)
        self.front_end.set_keys(made)

    def trace(self, *, bint parent_based, below, size_t capacity):
        """Before the first port: record calls for traces, of each I/O thread at most so many that were not taken yet.

        below: of traces that begin here those whose id's lower 64 bits are below it; None: all. parent_based: a call of
        a client's trace is recorded if the client records it, whatever its id.
        """
        cdef SamplerSettings sampler
        sampler.parent_based = parent_based
        sampler.all = below is None
        sampler.below = 0 if below is None else below
        self.front_end.trace(sampler, capacity)

    def take_spans(self):
        """The calls that were recorded since the last time, each as a CallSpan. One thread at a time."""
        cdef vector[Span] taken
        with nogil:
            taken = self.front_end.take_spans()
        return [_call_span(taken[i]) for i in range(taken.size())]

    def dropped_spans(self):
        """How many calls there was no room for."""
        return self.front_end.dropped_spans()

    def refusals(self, size_t port):
        """What a port has refused so far, by reason."""
        return {
            "no_key": self.front_end.refusals(port, <size_t>Refused.kNoKey),
            "wrong_key": self.front_end.refusals(port, <size_t>Refused.kWrongKey),
            "scope": self.front_end.refusals(port, <size_t>Refused.kScope),
            "rate": self.front_end.refusals(port, <size_t>Refused.kRate),
            "connections": self.front_end.refusals(port, <size_t>Refused.kConnections),
        }

    def add_grpc(self, cold_paths, *, bint typed_lists=False, bint strict_dtypes=False, size_t max_message=1 << 30,
                 bint metrics=True, bint predict_in_python=False, open_paths=(), admin_paths=(), int max_connections=0):
        """A port that speaks gRPC; its number. cold_paths: ``/SERVICE/METHOD`` of each call that Python answers;
        open_paths and admin_paths: those that need no key, and one for admin.
        """
        cdef GrpcSettings settings
        settings.predict.typed_lists = typed_lists
        settings.predict.strict_dtypes = strict_dtypes
        settings.max_message = max_message
        settings.metrics = metrics
        settings.predict_in_python = predict_in_python
        for path in cold_paths:
            settings.cold_paths.insert(<string>path.encode())
        for path in open_paths:
            settings.open_paths.insert(<string>path.encode())
        for path in admin_paths:
            settings.admin_paths.insert(<string>path.encode())
        settings.max_connections = max_connections
        return self.front_end.add_grpc(settings)

    def add_rest(self, *, size_t max_body=1 << 30, double timeout_seconds=0, double read_seconds=30,
                 bint metrics=True, bint predict_in_python=False, origins=(),
                 int max_connections=0):
        """A port that speaks REST; its number. origins: of pages that may ask, or * alone; Python answers what has an Origin.
        """
        cdef RestSettings settings
        settings.max_body = max_body
        settings.timeout_seconds = timeout_seconds
        settings.read_seconds = read_seconds
        settings.metrics = metrics
        settings.predict_in_python = predict_in_python
        settings.cors = len(origins) != 0
        settings.any_origin = "*" in origins
        for origin in origins:
            settings.origins.insert(<string>origin.encode("latin-1", "replace"))
        settings.max_connections = max_connections
        return self.front_end.add_rest(settings)

    def listen(self, size_t port, int socket, *, bint is_unix=False):
        """Have a port accept connections from this descriptor, which is the front end's own from now on."""
        self.front_end.listen(port, socket, is_unix)

    def set_tls(self, size_t port, bytes certificates not None, bytes key not None, bytes client_authorities=b""):
        """TLS for a port's connections from now on, with these in PEM; ValueError with what is wrong with them.

        client_authorities: whose certificates clients must have; without them they need none.
        """
        cdef TlsIdentity identity
        identity.certificates, identity.key, identity.client_authorities = certificates, key, client_authorities
        cdef string why
        with nogil:
            why = self.front_end.set_tls(port, identity)
        if why.size():
            raise ValueError(why.decode("utf-8", "replace"))

    def start(self):
        """Accept connections from now on."""
        self.started = True
        with nogil:
            self.front_end.start()

    def refuse(self, size_t port):
        """Refuse new calls of a port from now on; drain follows."""
        self.front_end.refuse(port)

    def drain(self, size_t port, double seconds):
        """Refuse new calls of a port, wait for those under way, end its connections; False if some were cut off."""
        cdef cbool finished
        with nogil:
            finished = self.front_end.drain(port, deadline_after(max(0.0, seconds)))
        return finished

    def stop(self):
        """Let clients take what they were answered, then end all threads; False if one still computes, for nobody.

        After each port was drained, by the last of those deadlines and a second for clients to close their side.
        """
        cdef cbool ended
        with nogil:
            ended = self.front_end.stop()
        self.done = ended
        return self.done

    def connections(self, size_t port):
        """How many connections a port has now."""
        return self.front_end.connections(port)

    def tls_failures(self, size_t port):
        """How many connections of a port have failed for their TLS."""
        return self.front_end.tls_failures(port)

    def metrics(self):
        """What was counted so far: a CallCounts for each model's calls by one interface and method."""
        cdef vector[unique_ptr[Series]] found
        with nogil:
            found = self.front_end.metrics()
        return [_call_counts(found[i].get()[0]) for i in range(found.size())]

    def waiting(self, str model, int64_t version):
        """How many predictions of a model wait for a thread."""
        cdef string name = model.encode("utf-8", "surrogateescape")
        return self.front_end.waiting(name, version)

    def next_event(self):
        """Wait for what Python has to do: (call, left, notice), or None once there is nothing more.

        A call is new, or with left its client has gone. Without a call, notice is a line for the log.
        """
        cdef ColdEvent event
        cdef cbool found
        cdef ColdCall call
        with nogil:
            found = self.front_end.cold().pop(event)
        if not found:
            return None
        if event.call.get() == NULL:
            return None, False, event.notice.decode("utf-8", "replace")
        call = ColdCall.__new__(ColdCall)
        call.call = event.call
        call.front_end = self
        return call, event.left, ""


@dataclasses.dataclass(frozen=True, slots=True)
class CallCounts:
    """Counters of calls. calls: how many ended with each of google.rpc.Code's numbers that occurred.

    A histogram is (counts by bucket, sum in seconds), see histogram_bounds. Of calls that are no predictions there is
    the total only; receive is the time in which a request arrived, queue that until the model's run began.
    """

    model: str
    version: int
    interface: str
    method: str
    calls: dict
    total: tuple
    receive: tuple
    queue: tuple
    infer: tuple
    pack: tuple


cdef object _call_counts(const Series& series):
    calls = {code: series_calls(series, code) for code in range(SERIES_CODES) if series_calls(series, code)}
    return CallCounts(
        series.model.decode("utf-8", "replace"), series.version, "REST" if series_is_rest(series) else "gRPC",
        series.method.decode("utf-8", "replace"), calls, _histogram(series.total), _histogram(series.receive),
        _histogram(series.queue), _histogram(series.infer), _histogram(series.pack),
    )


cdef tuple _histogram(const Histogram& histogram):
    return tuple([histogram_count(histogram, i) for i in range(HISTOGRAM_BUCKETS)]), histogram.nanoseconds.load() / 1e9


include "spans.pxi"


def histogram_bounds():
    """Seconds below which the durations of each bucket lie, but the last one's, which has no bound."""
    return [2.0 ** (HISTOGRAM_FIRST_BIT + i) / 1e9 for i in range(HISTOGRAM_BUCKETS - 1)]


def check_tls(bytes certificates not None, bytes key not None, bytes client_authorities=b""):
    """ValueError with what is wrong unless FrontEnd.set_tls would take these."""
    cdef TlsIdentity identity
    identity.certificates, identity.key, identity.client_authorities = certificates, key, client_authorities
    cdef string why = tls_trouble(identity)
    if why.size():
        raise ValueError(why.decode("utf-8", "replace"))


def certificate_end(bytes certificates not None):
    """Until when the first of these in PEM is valid, in seconds since the epoch; None if there is none."""
    cdef int64_t end = certificate_end_of(certificates)
    return None if end == -1 else end


def limit_bytes(size_t most):
    """The most bytes that the requests which arrive or wait, and the answers that are not sent yet, may have together."""
    limit_held_bytes(most)


def held_bytes():
    """How many they have now, but for some 256 KiB per thread."""
    return all_held_bytes()
