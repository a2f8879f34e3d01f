#include "pipeline/transport/nccl_library.hpp"

#include "core/shared_library.hpp"

#include <string>

namespace sluice {

namespace {

NcclLibrary load()
{
    const SharedLibrary library("libnccl.so." + std::to_string(NCCL_MAJOR), SLUICE_NCCL_LIBRARY_DIR,
                                "messages between GPUs",
                                "install NCCL, put its folder into LD_LIBRARY_PATH, or write "
                                "pipeline.transport = \"mpi\"");
    NcclLibrary calls{};
    library.find(calls.get_version, "ncclGetVersion");
    int version = 0;
    calls.get_version(&version);
    refuse_unfit_nccl(version);
    library.find(calls.get_unique_id, "ncclGetUniqueId");
    library.find(calls.comm_init_rank_config, "ncclCommInitRankConfig");
    library.find(calls.comm_destroy, "ncclCommDestroy");
    library.find(calls.comm_get_async_error, "ncclCommGetAsyncError");
    library.find(calls.get_error_string, "ncclGetErrorString");
    library.find(calls.get_last_error, "ncclGetLastError");
    library.find(calls.send, "ncclSend");
    library.find(calls.receive, "ncclRecv");
    library.find(calls.group_start, "ncclGroupStart");
    library.find(calls.group_end, "ncclGroupEnd");
    return calls;
}

} // namespace

const NcclLibrary& NcclLibrary::loaded()
{
    static const NcclLibrary calls = load();
    return calls;
}

} // namespace sluice
