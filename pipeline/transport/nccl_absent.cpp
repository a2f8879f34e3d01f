// Stands in for NCCL in builds without it.
#include "core/error.hpp"
#include "pipeline/transport/transport.hpp"

namespace sluice {

namespace {

[[noreturn]] void refuse()
{
    throw usage_error("this build of sluice has no NCCL", "pipeline.transport",
                      "write transport = \"mpi\", or build where nccl.h is");
}

} // namespace

bool nccl_is_compiled_in() { return false; }

std::unique_ptr<Transport> make_nccl_transport(Transport&, const Stream&,
                                               const std::vector<EdgeChannel>&)
{
    refuse();
}

std::unique_ptr<Transport> make_nccl_group_transport(Transport&, const Stream&) { refuse(); }

} // namespace sluice
