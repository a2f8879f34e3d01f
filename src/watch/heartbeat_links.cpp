#include "src/watch/heartbeat_links.hpp"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/read.hpp>
#include <chrono>
#include <sys/resource.h>
#include <type_traits>

namespace sluice {

namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using tcp = asio::ip::tcp;

static_assert(std::is_trivially_copyable_v<Heartbeat>);

constexpr std::chrono::milliseconds accept_again_after{100};

/// A centre has a connection with every rank, and the usual limit of open files is 1024.
void allow_many_files(std::size_t num_ranks)
{
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    const auto wanted = static_cast<rlim_t>(num_ranks + 512);
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = std::min(wanted, limit.rlim_max);
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

} // namespace

HeartbeatLinks::~HeartbeatLinks()
{
    error_code ignored;
    acceptor_.close(ignored);
    retry_.cancel();
    for (const auto& link : links_)
        link->socket.close(ignored);
}

std::uint16_t HeartbeatLinks::listen()
{
    error_code error;
    acceptor_.open(tcp::v4(), error);
    if (!error)
        acceptor_.bind({tcp::v4(), 0}, error);
    if (!error)
        acceptor_.listen(asio::socket_base::max_listen_connections, error);
    return error ? std::uint16_t{0} : acceptor_.local_endpoint(error).port();
}

std::vector<int> HeartbeatLinks::connect(const std::vector<RankAddress>& ranks,
                                         const std::vector<int>& centres, int rank, Events events)
{
    rank_ = rank;
    num_ranks_ = static_cast<int>(ranks.size());
    token_ = ranks[0].token;
    events_ = std::move(events);
    error_code ignored;
    if (std::find(centres.begin(), centres.end(), rank) == centres.end()) {
        acceptor_.close(ignored);
    } else if (acceptor_.is_open()) { // it is not where a rank is alone
        allow_many_files(ranks.size());
        accept();
    }
    std::vector<int> not_reached;
    for (const int centre : centres) {
        if (centre >= rank && std::find(centres.begin(), centres.end(), rank) != centres.end())
            continue;
        auto socket =
            reach(ranks[static_cast<std::size_t>(rank)], ranks[static_cast<std::size_t>(centre)]);
        if (!socket) {
            not_reached.push_back(centre);
            continue;
        }
        auto link = std::make_shared<Link>(std::move(*socket));
        link->rank = centre;
        link->socket.set_option(tcp::no_delay(true), ignored);
        link->socket.non_blocking(true, ignored);
        links_.push_back(link);
        read(link);
    }
    return not_reached;
}

/// Tries all addresses at once: some may lead nowhere and never answer.
std::optional<HeartbeatLinks::Socket> HeartbeatLinks::reach(const RankAddress& from,
                                                            const RankAddress& to)
{
    if (to.port == 0)
        return std::nullopt;
    const std::vector<std::string> addresses =
        from.machine == to.machine ? std::vector<std::string>{"127.0.0.1"} : to.addresses;
    asio::io_context io;
    std::vector<Socket> tried;
    tried.reserve(addresses.size());
    std::optional<std::size_t> reached;
    const auto has = [](const std::vector<std::string>& all, const std::string& one) {
        return std::find(all.begin(), all.end(), one) != all.end();
    };
    for (const std::string& text : addresses) {
        // A bridge of containers has the same address on every machine: it leads back to this one,
        // where anybody may listen on that port.
        if (from.machine != to.machine && has(from.addresses, text))
            continue;
        error_code error;
        const auto address = asio::ip::make_address(text, error);
        if (error)
            continue;
        const std::size_t index = tried.size();
        tried.emplace_back(io);
        tried.back().async_connect({address, to.port}, [&, index](const error_code& failed) {
            if (!failed && !reached)
                reached = index;
        });
    }
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!reached && io.run_one_until(until) > 0) {
    }
    if (!reached)
        return std::nullopt;
    // The socket moves to the event loop that will serve it.
    error_code error;
    const auto handle = tried[*reached].release(error);
    if (error)
        return std::nullopt;
    return Socket(io_, tcp::v4(), handle);
}

void HeartbeatLinks::accept()
{
    acceptor_.async_accept([this](const error_code& error, Socket socket) {
        if (error == asio::error::operation_aborted)
            return;
        if (error) { // no file left for it, say: tried again, but not all the time
            retry_.expires_after(accept_again_after);
            retry_.async_wait([this](const error_code& cancelled) {
                if (!cancelled)
                    accept();
            });
            return;
        }
        auto link = std::make_shared<Link>(std::move(socket));
        error_code ignored;
        link->socket.set_option(tcp::no_delay(true), ignored);
        link->socket.non_blocking(true, ignored);
        links_.push_back(link);
        read(link);
        accept();
    });
}

void HeartbeatLinks::read(std::shared_ptr<Link> link)
{
    Link& one = *link;
    asio::async_read(one.socket, asio::buffer(&one.incoming, sizeof one.incoming),
                     [this, link](const error_code& error, std::size_t) {
                         if (error == asio::error::operation_aborted)
                             return; // closed here; `this` may be gone
                         const Heartbeat& heartbeat = link->incoming;
                         if (error) {
                             lost(link, error);
                             return;
                         }
                         const bool stranger = heartbeat.token != token_ || heartbeat.to != rank_ ||
                                               heartbeat.from < 0 || heartbeat.from >= num_ranks_ ||
                                               (link->rank >= 0 && link->rank != heartbeat.from);
                         if (stranger) {
                             link->rank = -1;
                             lost(link, error);
                             return;
                         }
                         link->rank = heartbeat.from;
                         events_.heard(heartbeat);
                         read(link);
                     });
}

void HeartbeatLinks::lost(const std::shared_ptr<Link>& link, const error_code& error)
{
    links_.erase(std::remove(links_.begin(), links_.end(), link), links_.end());
    error_code ignored;
    link->socket.close(ignored);
    // Anything else, like a timeout, leaves the rank silent.
    const bool ended = error == asio::error::eof || error == asio::error::connection_reset;
    if (link->rank >= 0 && ended)
        events_.closed(link->rank);
}

void HeartbeatLinks::send(Heartbeat heartbeat)
{
    heartbeat.token = token_;
    heartbeat.from = rank_;
    for (const auto& link : links_)
        if (link->rank >= 0 && !link->full)
            send_to(*link, heartbeat);
}

void HeartbeatLinks::send_to(Link& link, Heartbeat heartbeat)
{
    heartbeat.to = link.rank;
    error_code error;
    const std::size_t sent =
        link.socket.write_some(asio::buffer(&heartbeat, sizeof heartbeat), error);
    // Half a heartbeat would put all later ones out of step.
    link.full = !error && sent < sizeof heartbeat;
}

} // namespace sluice
