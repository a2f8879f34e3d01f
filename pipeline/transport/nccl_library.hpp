// NCCL, loaded when ranks with GPUs of their own connect: programs that use none start without it.
#pragma once

#include <nccl.h>

namespace sluice {

/// The calls in use, by their names without the prefix.
struct NcclLibrary {
    /// Throws UserError (usage) when the library is not found.
    static const NcclLibrary& loaded();

    decltype(&ncclGetUniqueId) get_unique_id;
    decltype(&ncclCommInitRank) comm_init_rank;
    decltype(&ncclCommDestroy) comm_destroy;
    decltype(&ncclCommAbort) comm_abort;
    decltype(&ncclCommGetAsyncError) comm_get_async_error;
    decltype(&ncclGetErrorString) get_error_string;
    decltype(&ncclSend) send;
    decltype(&ncclRecv) receive;
    decltype(&ncclGroupStart) group_start;
    decltype(&ncclGroupEnd) group_end;
};

} // namespace sluice
