# find_package(sluice): the libraries of the floors below the program.
list(APPEND CMAKE_MODULE_PATH ${CMAKE_CURRENT_LIST_DIR})
include(${CMAKE_CURRENT_LIST_DIR}/SluiceDependencies.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/sluiceFeatures.cmake)
if(SLUICE_HAS_CUDA)
    find_package(CUDAToolkit REQUIRED)
endif()
include(${CMAKE_CURRENT_LIST_DIR}/sluiceTargets.cmake)
