#include "front_end.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <latch>
#include <thread>

#include "connection.hpp"
#include "listener.hpp"

namespace ovms::net {
namespace {

constexpr auto kLook = std::chrono::milliseconds(5);       // between looks at what is still under way
constexpr auto kGoodbye = std::chrono::milliseconds(150);  // that clients get to hear of the end, and to stop asking

constexpr auto kLastAnswers = std::chrono::milliseconds(200);  // that clients who came last have to ask

constexpr auto kParting = std::chrono::seconds(1);  // that clients get to close their side

constexpr auto kLast = std::chrono::milliseconds(50);  // that a thread which computes for nobody gets to end

}  // namespace

FrontEnd::FrontEnd(const DataPlane& plane, size_t io_threads, size_t threads, std::chrono::microseconds busy_poll)
    : plane_(plane), last_heard_(io_threads), scheduler_(threads) {
    for (size_t i = 0; i < io_threads; ++i) loops_.push_back(std::make_unique<IoLoop>(busy_poll, last_heard_, i));
}

FrontEnd::~FrontEnd() = default;

size_t FrontEnd::add_grpc(GrpcSettings settings) {
    const int max_connections = settings.max_connections;
    return add(std::make_unique<GrpcPort>(plane_, scheduler_, cold_, std::move(settings)), max_connections);
}

size_t FrontEnd::add_rest(const RestSettings& settings) {
    return add(std::make_unique<RestPort>(plane_, scheduler_, cold_, settings), settings.max_connections);
}

size_t FrontEnd::add(std::unique_ptr<CallPort> port, int max_connections) {
    port->gate = gate_.get();
    port->traced = traced_;
    port->limit_connections(max_connections);
    ports_.push_back(std::move(port));
    return ports_.size() - 1;
}

void FrontEnd::set_keys(std::vector<ApiKey> keys) {
    keys_ = std::make_shared<const KeySet>(std::move(keys), keys_.get());
    for (const auto& loop : loops_) loop->post([loop = loop.get(), keys = keys_] { loop->set_keys(keys); });
}

// Without a word: an answer would take the client's side of TLS, or of HTTP/2, first.
void FrontEnd::refuse_connection(Port& port, int socket) {
    ::close(socket);
    uint64_t unsaid = 0;
    if (port.refusals.count(Refused::kConnections, unsaid))
        cold_.push({nullptr, false, refusal_line(port.name(), "a client", Refused::kConnections, unsaid)});
}

std::string FrontEnd::set_tls(size_t number, const TlsIdentity& identity) {
    Port& port = *ports_.at(number);
    std::string why;
    auto tls = TlsContext::make(identity, port.protocols(), why);
    if (tls != nullptr) port.set_tls(std::move(tls));
    return why;
}

void FrontEnd::listen(size_t port, int socket, bool is_unix) {
    Port* const which = ports_.at(port).get();
    auto accepted = [this, which, is_unix](int client) {
        if (which->full()) return refuse_connection(*which, client);
        which->count_connections(1);
        IoLoop& loop = next_loop();
        loop.post([&loop, which, client, is_unix] { Connection::adopt(loop, *which, client, is_unix); });
    };
    auto trouble = [this](std::string text) { cold_.push({nullptr, false, std::move(text)}); };
    which->on_trouble = trouble;
    auto listener = std::make_unique<Listener>(socket, std::move(accepted), std::move(trouble));
    which->listeners.push_back(listener.get());
    listeners_.push_back(std::move(listener));
}

void FrontEnd::start() {
    scheduler_.start();
    started_ = true;
    for (const auto& loop : loops_) loop->start();
    loops_.front()->post([this] {
        for (const auto& listener : listeners_) listener->start(loops_.front()->uv());
    });
}

template <class Do>
void FrontEnd::on_every_loop(Do act) {
    std::latch done(static_cast<std::ptrdiff_t>(loops_.size()));
    for (const auto& loop : loops_)
        loop->post([&, loop = loop.get()] {
            act(*loop);
            done.count_down();
        });
    done.wait();
}

template <class Is>
size_t FrontEnd::count_connections(Is is) {
    std::atomic<size_t> count{0};
    on_every_loop([&](IoLoop& loop) {
        for (const Connection* connection : loop.connections()) count += is(*connection);
    });
    return count;
}

template <class Do>
void FrontEnd::on_every_connection(Do act) {
    on_every_loop([&](IoLoop& loop) {
        const std::vector<Connection*> all(loop.connections().begin(), loop.connections().end());
        for (Connection* connection : all)
            if (loop.connections().contains(connection)) connection->attempt([&] { act(*connection); });
    });
}

bool FrontEnd::drain(size_t number, Deadline deadline) {
    Port& port = *ports_.at(number);
    port.drain();
    if (!started_ || stopped_) return true;
    deadline_ = std::max(deadline_, deadline);
    const auto is_here = [&port](const Connection& connection) { return &connection.port() == &port; };
    on_every_connection([&](Connection& connection) {
        if (is_here(connection)) connection.drain();
    });
    const Deadline heard = Clock::now() + kGoodbye;
    const auto is_busy = [&](const Connection& connection) { return is_here(connection) && !connection.idle(); };
    size_t busy = 0;
    while ((busy = count_connections(is_busy)) != 0 || (port.connections() != 0 && Clock::now() < heard)) {
        if (busy != 0 && Clock::now() >= std::max(deadline, heard)) break;
        std::this_thread::sleep_for(kLook);
    }
    on_every_loop([&](IoLoop& loop) {
        if (&loop == loops_.front().get())
            for (Listener* listener : port.listeners) listener->stop();
    });
    // Those that were accepted last have been handed out by now. A client of one request for each connection knows of no
    // other word than an answer.
    const auto is_owed = [&](const Connection& connection) {
        return is_here(connection) && (!connection.idle() || !connection.answered_any());
    };
    const Deadline last = Clock::now() + kLastAnswers;
    while (busy == 0 && port.answers_the_last() && Clock::now() < last && count_connections(is_owed) != 0)
        std::this_thread::sleep_for(kLook);
    on_every_connection([&](Connection& connection) {
        if (is_here(connection) && !connection.lingers()) connection.close();
    });
    return busy == 0;
}

// Whoever still takes its answer has the time that a call would have; others only have to close their side.
void FrontEnd::part() {
    const Deadline parted = Clock::now() + kParting;
    const Deadline last = std::max(parted, deadline_);
    const auto lingers = [&](const Connection& connection) {
        return connection.lingers() && (Clock::now() < parted || connection.untaken() != 0);
    };
    while (Clock::now() < last && count_connections(lingers) != 0) std::this_thread::sleep_for(kLook);
    on_every_connection([](Connection& connection) { connection.close(); });
}

std::vector<std::unique_ptr<Series>> FrontEnd::metrics() const {
    std::vector<std::unique_ptr<Series>> sums;
    for (const auto& loop : loops_) loop->metrics().add_to(sums);
    return sums;
}

void FrontEnd::trace(const SamplerSettings& sampler, size_t capacity) {
    for (const auto& loop : loops_) loop->trace(sampler, capacity);
    traced_ = true;
}

std::vector<Span> FrontEnd::take_spans() {
    std::vector<Span> taken;
    if (traced_)
        for (const auto& loop : loops_) loop->spans()->take(taken);
    return taken;
}

uint64_t FrontEnd::dropped_spans() const {
    uint64_t sum = 0;
    if (traced_)
        for (const auto& loop : loops_) sum += loop->spans()->dropped();
    return sum;
}

bool FrontEnd::stop() {
    if (stopped_) return true;
    for (size_t i = 0; i < ports_.size(); ++i)
        if (!ports_[i]->draining()) drain(i, Clock::now());
    if (started_) part();
    cold_.close();
    if (!scheduler_.stop(Clock::now() + kLast)) return false;
    stopped_ = true;
    for (const auto& loop : loops_) loop->stop();
    return true;
}

}  // namespace ovms::net
