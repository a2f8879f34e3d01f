// Stands in for NCCL in builds without it.
#include "core/error.hpp"
#include "pipeline/transport/transport.hpp"

namespace sluice {

namespace {

constexpr const char* not_built = "this build of sluice has no NCCL";

[[noreturn]] void refuse()
{
    throw usage_error(not_built, "pipeline.transport",
                      "write transport = \"mpi\", or build where nccl.h is");
}

} // namespace

std::string why_no_nccl() { return not_built; }
std::string nccl_version() { refuse(); }

std::unique_ptr<Transport> make_nccl_transport(Transport&, std::shared_ptr<StreamWaits>,
                                               const std::vector<EdgeChannel>&)
{
    refuse();
}

std::unique_ptr<Transport> make_nccl_group_transport(Transport&, std::shared_ptr<StreamWaits>)
{
    refuse();
}

} // namespace sluice
