#include "src/train/peer_watch.hpp"

#include <chrono>
#include <fstream>
#include <sstream>
#include <string>
#include <unistd.h>

namespace sluice {

namespace {

std::string host_name()
{
    char name[256] = {};
    gethostname(name, sizeof name - 1);
    return name;
}

/// False when the process is gone, or dead and not yet collected by its parent.
bool is_alive(int process)
{
    std::ifstream file("/proc/" + std::to_string(process) + "/stat");
    std::string line;
    if (!std::getline(file, line))
        return false;
    // "pid (name) state ...": the name may hold anything but comes before the last bracket.
    const auto bracket = line.rfind(')');
    return bracket == std::string::npos || bracket + 2 >= line.size() ||
           (line[bracket + 2] != 'Z' && line[bracket + 2] != 'X');
}

} // namespace

PeerWatch::PeerWatch(Transport& transport, std::function<void(int, int)> on_death)
    : transport_(transport), on_death_(std::move(on_death))
{
    const std::string host = host_name();
    const auto ranks = transport.gather_text(host + " " + std::to_string(getpid()));
    for (int rank = 0; rank < transport.num_ranks(); ++rank) {
        std::istringstream text(ranks[static_cast<std::size_t>(rank)]);
        std::string its_host;
        int process = 0;
        if (text >> its_host >> process && its_host == host && rank != transport.rank())
            peers_.push_back({rank, process});
    }
    if (!peers_.empty())
        thread_ = std::thread([this] { watch(); });
}

PeerWatch::~PeerWatch()
{
    if (dismissed_)
        return;
    dismiss();
    transport_.barrier();
}

void PeerWatch::dismiss()
{
    {
        const std::lock_guard lock(mutex_);
        dismissed_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable())
        thread_.join();
}

void PeerWatch::watch()
{
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, std::chrono::milliseconds(200), [this] { return dismissed_; }))
        for (const Peer& peer : peers_)
            if (!is_alive(peer.process)) {
                lock.unlock();
                on_death_(peer.rank, peer.process);
                return;
            }
}

} // namespace sluice
