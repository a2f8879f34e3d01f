// The connections over which heartbeats travel: from every rank to the centres, over TCP.
//
// Nothing here waits: a heartbeat that does not fit into a connection's buffer is not sent, and a
// rank whose connection is that full has long been silent. Used by one thread at a time, the one
// that runs `io`.
#pragma once

#include "pipeline/rank_activity.hpp"
#include "src/watch/rank_address.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace sluice {

/// As it stands in memory: the ranks of one job run the same program.
struct Heartbeat {
    enum class Kind : std::int32_t { alive, end };
    std::uint64_t token = 0;
    std::int32_t from = 0, to = 0; ///< ranks
    Kind kind = Kind::alive;
    std::int32_t culprit = -1; ///< the first rank that is to blame for the end
    double unchanged_seconds = 0.0;
    RankState state{};
};

class HeartbeatLinks {
public:
    explicit HeartbeatLinks(boost::asio::io_context& io) : io_(io), acceptor_(io), retry_(io) {}
    /// Others see their connections with this rank end.
    ~HeartbeatLinks();
    HeartbeatLinks(const HeartbeatLinks&) = delete;
    HeartbeatLinks& operator=(const HeartbeatLinks&) = delete;

    /// From before the addresses are exchanged. Returns the port, 0 where listening is impossible.
    std::uint16_t listen();

    struct Events {
        std::function<void(const Heartbeat&)> heard; ///< with the job's token, to this rank
        std::function<void(int)> closed; ///< the rank's connection has ended: so has its process
    };
    /// Accepts others where this rank is a centre, and connects to the centres before it, for as
    /// long as 10 s. Returns the centres it could not reach.
    std::vector<int> connect(const std::vector<RankAddress>& ranks, const std::vector<int>& centres,
                             int rank, Events events);

    /// To every rank that this one is connected with. Fills in token, from and to.
    void send(Heartbeat heartbeat);

private:
    using Socket = boost::asio::ip::tcp::socket;
    struct Link {
        explicit Link(Socket connected) : socket(std::move(connected)) {}
        Socket socket;
        int rank = -1; ///< unknown until it has spoken
        Heartbeat incoming;
        bool full = false;
    };
    void accept();
    void read(std::shared_ptr<Link> link);
    void lost(const std::shared_ptr<Link>& link, const boost::system::error_code& error);
    std::optional<Socket> reach(const RankAddress& from, const RankAddress& to);
    void send_to(Link& link, Heartbeat heartbeat);

    boost::asio::io_context& io_;
    boost::asio::ip::tcp::acceptor acceptor_;
    boost::asio::steady_timer retry_;
    Events events_;
    std::uint64_t token_ = 0;
    int rank_ = 0, num_ranks_ = 1;
    std::vector<std::shared_ptr<Link>> links_;
};

} // namespace sluice
