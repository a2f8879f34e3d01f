// What a transport for GPUs' memory passes through to the one of host memory below it.
#pragma once

#include "pipeline/transport/transport.hpp"

#include <cstdlib>

namespace sluice {

class TransportOver : public Transport {
public:
    /// `host` must outlive it.
    explicit TransportOver(Transport& host) : host_(host) { publish_into(host.activity()); }

    int rank() const override { return host_.rank(); }
    int num_ranks() const override { return host_.num_ranks(); }
    int world_rank_of(int rank) const override { return host_.world_rank_of(rank); }
    void start_all() override
    {
        before_others_are_waited_for();
        host_.start_all();
    }
    std::unique_ptr<Transport> split(int color, int key) override
    {
        before_others_are_waited_for();
        return host_.split(color, key);
    }

    void sum(std::span<double> values) override
    {
        before_others_are_waited_for();
        host_.sum(values);
    }
    void max(std::span<double> values) override
    {
        before_others_are_waited_for();
        host_.max(values);
    }
    void broadcast(std::span<std::byte> bytes, int root) override
    {
        before_others_are_waited_for();
        host_.broadcast(bytes, root);
    }
    std::vector<std::string> gather_text(const std::string& text) override
    {
        before_others_are_waited_for();
        return host_.gather_text(text);
    }
    void barrier() override
    {
        before_others_are_waited_for();
        host_.barrier();
    }

    [[noreturn]] void abort(int exit_code) override
    {
        host_.abort(exit_code);
        std::abort(); // never reached; not every compiler knows that of a virtual function
    }

protected:
    Transport& host() const { return host_; }
    /// Whatever another rank may need from here before it comes to where this one waits for it.
    virtual void before_others_are_waited_for() {}

private:
    Transport& host_;
};

} // namespace sluice
