#include "pipeline/transport/mpi_session.hpp"

#include "core/error.hpp"
#include "pipeline/transport/mpi_yield.hpp"

namespace sluice {

std::string mpi_error_text(int code)
{
    char text[MPI_MAX_ERROR_STRING] = {};
    int length = 0;
    MPI_Error_string(code, text, &length);
    return std::string(text, static_cast<std::size_t>(length));
}

void check_mpi(int code, const char* call)
{
    if (code != MPI_SUCCESS)
        throw PeerError(std::string(call) + ": " + mpi_error_text(code));
}

MpiSession::MpiSession()
{
    int initialized = 0;
    MPI_Initialized(&initialized);
    SLUICE_CHECK(!initialized, "MPI was already initialised in this process");
    yield_when_cores_are_shared();
    int provided = 0;
    check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    if (provided < MPI_THREAD_FUNNELED)
        throw PeerError("this MPI does not support threads (MPI_THREAD_FUNNELED)");
}

MpiSession::~MpiSession()
{
    if (!abandoned_)
        MPI_Finalize();
}

} // namespace sluice
