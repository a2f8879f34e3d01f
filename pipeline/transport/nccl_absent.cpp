// Stands in for NCCL in builds without it.
#include "core/error.hpp"
#include "pipeline/transport/transport.hpp"

namespace sluice {

bool nccl_is_compiled_in() { return false; }

std::unique_ptr<Transport> make_nccl_transport(Transport&, const Stream&,
                                               const std::vector<EdgeChannel>&)
{
    throw usage_error("this build of sluice has no NCCL", "pipeline.transport",
                      "write transport = \"mpi\", or build where nccl.h is");
}

} // namespace sluice
