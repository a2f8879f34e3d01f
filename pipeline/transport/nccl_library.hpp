// NCCL, loaded when ranks with GPUs of their own choose how to talk: programs that use none start
// without it.
#pragma once

#include <nccl.h>

#include <string>

namespace sluice {

/// The calls in use, by their names without the prefix.
struct NcclLibrary {
    /// Throws UserError (usage) when the library is not found or too old.
    static const NcclLibrary& loaded();

    decltype(&ncclGetVersion) get_version;
    decltype(&ncclGetUniqueId) get_unique_id;
    decltype(&ncclCommInitRankConfig) comm_init_rank_config;
    decltype(&ncclCommDestroy) comm_destroy;
    decltype(&ncclCommGetAsyncError) comm_get_async_error;
    decltype(&ncclGetErrorString) get_error_string;
    decltype(&ncclGetLastError) get_last_error;
    decltype(&ncclSend) send;
    decltype(&ncclRecv) receive;
    decltype(&ncclGroupStart) group_start;
    decltype(&ncclGroupEnd) group_end;
};

/// "2.28.9", of what ncclGetVersion() gives.
std::string nccl_version_text(int version);
/// Throws UserError (usage) where such a library does not know what this program asks for, or is
/// told by its environment to do it in another way.
void refuse_unfit_nccl(int version);

} // namespace sluice
