// A rank per GPU, or per emulated one (tests/emulated_gpu), with NCCL between them.
#pragma once

#include "core/compute_stream.hpp"
#include "core/cuda/gpu.hpp"
#include "pipeline/transport/stream_waits.hpp"
#include "tests/mpi_session.hpp"

#include <boost/test/unit_test.hpp>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace sluice::testing {

inline boost::test_tools::assertion_result gpus_and_nccl_are_there(boost::unit_test::test_unit_id)
{
    std::string why = why_no_nccl();
    if (num_gpus() < shared_transport().num_ranks())
        why = "no GPU for each rank";
    double some_cannot = why.empty() ? 0.0 : 1.0;
    shared_transport().max({&some_cannot, 1});
    if (shared_transport().rank() == 0 && some_cannot != 0.0)
        std::printf("skipped: %s\n", why.empty() ? "another rank cannot" : why.c_str());
    return some_cannot == 0.0;
}

/// Rank r on GPU r, with NCCL over a staged transport over the job's.
struct ByNccl {
    ByNccl()
        : compute({.backend = Backend::cuda, .device = use_gpu(shared_transport().rank())}),
          host(make_staged_transport(shared_transport(), compute.stream(), {}))
    {
    }
    const Stream& stream() const { return compute.stream(); }
    int rank() const { return host->rank(); }
    int num_ranks() const { return host->num_ranks(); }
    int next() const { return (rank() + 1) % num_ranks(); }
    int previous() const { return (rank() + num_ranks() - 1) % num_ranks(); }

    /// Activations from each rank to the next, gradients the other way round; the last is followed
    /// by the first. Chunk c is on rank c mod P.
    std::unique_ptr<Transport> ring(int chunks_per_rank = 1) const
    {
        std::vector<EdgeChannel> channels;
        for (int from = 0; from < num_ranks(); ++from) {
            const int to = (from + 1) % num_ranks();
            EdgeChannel forth{{}, false, from, to}, back{{}, true, to, from};
            for (int i = 0; i < chunks_per_rank; ++i) {
                forth.to_chunks.push_back(to + i * num_ranks());
                back.to_chunks.push_back(from + i * num_ranks());
            }
            channels.push_back(forth);
            channels.push_back(back);
        }
        return make_nccl_transport(*host, waits, channels);
    }
    std::unique_ptr<Transport> groups() const { return make_nccl_group_transport(*host, waits); }

    ComputeStream compute;
    std::unique_ptr<Transport> host;
    std::shared_ptr<StreamWaits> waits = std::make_shared<StreamWaits>(stream(), nullptr);
};

} // namespace sluice::testing
