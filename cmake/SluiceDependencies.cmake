# Everything beyond the mathematics and the pipeline comes from a library. Names: Debian 12 packages.
# Here is what the floors below the program need; the installed package looks for it, too.
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
if(NOT SLUICE_FUZZ)
    find_package(OpenMP REQUIRED COMPONENTS CXX)
    find_package(MPI REQUIRED COMPONENTS C)             # libopenmpi-dev
endif()
find_package(ZLIB REQUIRED)                             # zlib1g-dev
find_package(spdlog REQUIRED)                           # libspdlog-dev
find_package(fmt REQUIRED)                              # libfmt-dev
find_package(nlohmann_json REQUIRED)                    # nlohmann-json3-dev
find_package(simdjson REQUIRED)                         # libsimdjson-dev

# The serial HDF5 library, also where a parallel one is installed beside it.
find_package(SluiceHDF5 REQUIRED)                       # libhdf5-dev

function(sluice_plain_library target header library package)
    find_path(SLUICE_${target}_INCLUDE ${header} REQUIRED)
    find_library(SLUICE_${target}_LIBRARY ${library} REQUIRED)
    add_library(sluice::${target} UNKNOWN IMPORTED)
    set_target_properties(sluice::${target} PROPERTIES
        IMPORTED_LOCATION ${SLUICE_${target}_LIBRARY}
        INTERFACE_INCLUDE_DIRECTORIES ${SLUICE_${target}_INCLUDE})
endfunction()
sluice_plain_library(xxhash xxhash.h xxhash libxxhash-dev)
sluice_plain_library(onednn dnnl.h dnnl libdnnl-dev)
sluice_plain_library(sentencepiece sentencepiece_processor.h sentencepiece libsentencepiece-dev)
