// The native front end: I/O threads, ports, and their beginning and end.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "cold_calls.hpp"
#include "data_plane.hpp"
#include "gate.hpp"
#include "grpc_port.hpp"
#include "io_loop.hpp"
#include "port.hpp"
#include "rest_port.hpp"
#include "scheduler.hpp"

namespace ovms::net {

class Listener;

// Made, given ports, started and stopped once. Its calls are for one thread at a time, but for those of cold().
class FrontEnd {
public:
    // io_threads: at least one. threads: the most that compute for calls which an I/O thread does not compute itself.
    // busy_poll: see BusyPoll.
    FrontEnd(const DataPlane& plane, size_t io_threads, size_t threads, std::chrono::microseconds busy_poll);
    // Never started, or after a stop that was true.
    ~FrontEnd();

    // Before the first port: who is let in at each of them.
    void guard(const GateSettings& settings) { gate_ = std::make_unique<Gate>(settings); }
    // Before the first port: has calls recorded, of each I/O thread at most so many that nobody has taken yet.
    void trace(const SamplerSettings& sampler, size_t capacity);
    // The calls that were recorded since the last time. From any thread, one at a time.
    std::vector<Span> take_spans();
    // How many there was no room for.
    uint64_t dropped_spans() const;
    // The keys that let in from now on. One caller at a time, on any thread.
    void set_keys(std::vector<ApiKey> keys);

    // A port that speaks gRPC. The number names it in what follows.
    size_t add_grpc(GrpcSettings settings);
    // One that speaks REST.
    size_t add_rest(const RestSettings& settings);

    // TLS for a port's connections from now on. Returns what is wrong with the identity, if anything. From any
    // thread.
    std::string set_tls(size_t port, const TlsIdentity& identity);

    // Has a port accept connections from a socket that listens, which is the front end's from now on.
    void listen(size_t port, int socket, bool is_unix);

    // Accepts connections from now on.
    void start();

    // Refuses new calls of a port from now on.
    void refuse(size_t port) { ports_[port]->drain(); }

    // Refuses new calls of a port, tells its clients, and waits until those under way are answered, at most until the
    // deadline; then closes its sockets, and its connections but for those that linger. False: some calls were cut off. From
    // one thread, as stop.
    bool drain(size_t port, Deadline deadline);

    // Lets clients of all ports take what they were answered, until the last deadline, and a second to close their side; then
    // ends all threads. A port that was not drained has its calls cut off. False: somebody still computes, for a client who
    // has left or was cut off; then the object has to live as long as the process.
    bool stop();

    ColdQueue& cold() { return cold_; }
    int connections(size_t port) const { return ports_[port]->connections(); }
    // What a port has refused, by the numbers of Refused.
    uint64_t refusals(size_t port, size_t reason) const { return ports_[port]->refusals.of(reason); }
    // How many connections of a port have failed for their TLS.
    uint64_t tls_failures(size_t port) { return ports_.at(port)->tls_failures(); }
    // What was counted so far, each series once. From any thread.
    std::vector<std::unique_ptr<Series>> metrics() const;
    // How many calls of a model wait for a thread.
    size_t waiting(const std::string& model, int64_t version) { return scheduler_.waiting(model, version); }

private:
    friend class Listener;

    size_t add(std::unique_ptr<CallPort> port, int max_connections);
    void refuse_connection(Port& port, int socket);
    template <class Is>
    size_t count_connections(Is is);
    template <class Do>
    void on_every_connection(Do act);
    void part();
    template <class Do>
    void on_every_loop(Do act);
    IoLoop& next_loop() { return *loops_[next_loop_++ % loops_.size()]; }

    const DataPlane plane_;
    LastHeard last_heard_;
    ColdQueue cold_;
    Scheduler scheduler_;
    std::unique_ptr<Gate> gate_;
    std::shared_ptr<const KeySet> keys_;
    std::vector<std::unique_ptr<Port>> ports_;
    std::vector<std::unique_ptr<IoLoop>> loops_;
    std::vector<std::unique_ptr<Listener>> listeners_;  // all on the first loop
    size_t next_loop_ = 0;
    Deadline deadline_ = Deadline::min();  // the last of a drain
    bool started_ = false;
    bool stopped_ = false;
    bool traced_ = false;
};

}  // namespace ovms::net
