#include "pipeline/transport/nccl_library.hpp"

#include "core/error.hpp"

#include <dlfcn.h>
#include <string>

namespace sluice {

namespace {

void* open_library()
{
    // Where the loader looks (LD_LIBRARY_PATH, a module's paths), then where this build found it.
    const std::string name = "libnccl.so." + std::to_string(NCCL_MAJOR);
    for (const std::string& path : {name, std::string(SLUICE_NCCL_LIBRARY_DIR "/") + name})
        if (void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL))
            return library;
    const char* reason = dlerror();
    throw usage_error("cannot load " + name + ": " + (reason ? reason : "unknown reason"),
                      "messages between GPUs",
                      "install NCCL, put its folder into LD_LIBRARY_PATH, or write "
                      "pipeline.transport = \"mpi\"");
}

NcclLibrary load()
{
    void* library = open_library();
    NcclLibrary calls{};
    const auto find = [library]<class Call>(Call& call, const char* name) {
        call = reinterpret_cast<Call>(dlsym(library, name));
        SLUICE_CHECK(call != nullptr, "libnccl has no " << name);
    };
    find(calls.get_unique_id, "ncclGetUniqueId");
    find(calls.comm_init_rank, "ncclCommInitRank");
    find(calls.comm_destroy, "ncclCommDestroy");
    find(calls.comm_abort, "ncclCommAbort");
    find(calls.comm_get_async_error, "ncclCommGetAsyncError");
    find(calls.get_error_string, "ncclGetErrorString");
    find(calls.send, "ncclSend");
    find(calls.receive, "ncclRecv");
    return calls;
}

} // namespace

const NcclLibrary& NcclLibrary::loaded()
{
    static const NcclLibrary calls = load();
    return calls;
}

} // namespace sluice
