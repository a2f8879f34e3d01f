// Notices when another rank on this machine dies without a word (killed, out of memory), long
// before messages to it would time out, and under every launcher.
//
// A rank on another machine is left to the launcher.
#pragma once

#include "pipeline/transport/transport.hpp"

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace sluice {

class PeerWatch {
public:
    /// Collective. `on_death` is called once, on a thread of its own, with the rank and process
    /// that is gone. It must end this process.
    PeerWatch(Transport& transport, std::function<void(int rank, int process)> on_death);
    /// Collective: nobody leaves while somebody still watches.
    ~PeerWatch();
    PeerWatch(const PeerWatch&) = delete;
    PeerWatch& operator=(const PeerWatch&) = delete;

    /// Before leaving because of a failure: no collective, no more watching.
    void dismiss();

private:
    struct Peer {
        int rank = 0, process = 0;
    };
    void watch();

    Transport& transport_;
    std::function<void(int, int)> on_death_;
    std::vector<Peer> peers_; ///< on this machine, without this rank
    std::mutex mutex_;
    std::condition_variable wake_;
    bool dismissed_ = false;
    std::thread thread_;
};

} // namespace sluice
